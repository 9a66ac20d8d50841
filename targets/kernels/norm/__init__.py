"""Layer and group norm: a row's mean, then the squares around it, then the result."""
