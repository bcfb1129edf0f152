"""Where the bytes lie: which days landed, which files are a day's dump, and whether they are whole."""
