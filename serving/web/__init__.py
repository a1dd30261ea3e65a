"""The pages: templates and their routes. Thin: asks one function, renders."""
