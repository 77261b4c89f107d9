"""What tests share: sound servers, a systemd, a browser, terminals, clients, made-up models and recordings."""
