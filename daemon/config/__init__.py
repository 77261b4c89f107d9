"""The configuration file: what can be set, how it is read and checked, and how a threshold is saved into it.

Settings are frozen; nothing here listens, plays or runs anything.
"""

__all__ = ["edit_threshold", "hook", "settings", "wyoming_options"]  # what other rooms may import
