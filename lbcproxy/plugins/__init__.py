"""Plugins: the API, the loader of plugin files, and the pipeline that messages pass through."""
