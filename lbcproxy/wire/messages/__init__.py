"""The messages of the protocol, one file per family. New files are found by themselves.

To add a message, add a class with a `command` to the file of its family, or to a new file.
"""
