"""The pool: rows, masks, who holds them, who answers."""
