"""Where the bytes lie: the days that landed, each day's files, and whether they are whole."""
