"""Every message of the protocol, a family to a file; the files are found, not listed.

To add a message, add a class with a `command` to the file of its family, or a new file.
"""
