"""JSON and YAML that people edit: its values, what is made of them, what is wrong with them."""
