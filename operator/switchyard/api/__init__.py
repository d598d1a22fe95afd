"""What people write: one module per kind, CEL rules beside the fields they guard."""
