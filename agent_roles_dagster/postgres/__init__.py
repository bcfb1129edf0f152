"""PostgreSQL: connecting, the SQL files, Arrow, and a server of our own."""
