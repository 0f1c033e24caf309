"""The page that shows what has landed and what is missing."""
