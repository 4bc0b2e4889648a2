"""Files of tensors: what their headers say, and views of arrays that are not read yet."""
