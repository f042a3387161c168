"""Headers of safetensors and GGUF files: which tensors there are, read without the tensors, from any reader of ranges.

Every number of a header is a stranger's: sizes, counts, names, nesting and offsets are bounded before they are used,
and what does not hold together is one :class:`~kitops.errors.HeaderError`.
"""
