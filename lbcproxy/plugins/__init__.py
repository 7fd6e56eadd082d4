"""Plugins: what one is written with, how files of them are loaded, how messages pass through."""
