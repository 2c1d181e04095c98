"""Where pictures come from: the document itself, GridFS, files below a root, object stores, URLs."""
