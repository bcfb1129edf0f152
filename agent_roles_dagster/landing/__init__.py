"""The landing folder: which days have landed, each day's files, and whether they are whole."""
