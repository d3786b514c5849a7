"""What a person looks at after a run: pictures, figures, tables and one self-contained page."""
