"""What people click and browse: the page and its server, index and search, napari. It calls the verbs as a user does."""
