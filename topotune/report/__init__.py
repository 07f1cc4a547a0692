"""Tables, figures and one self-contained page from the files that a study left in its folder."""
