"""The use cases. Each function is one thing an operator, a storefront or a member wants done."""
