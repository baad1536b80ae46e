"""Training and measuring deraining networks; the application never imports this package."""
