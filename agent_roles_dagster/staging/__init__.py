"""From raw rows to a published day: validated, compared with its neighbours, loaded."""
