"""Tables, figures and the one-file HTML page. Records in, text out."""
