"""One module a command, named after it: flags in, one call of ``kitops.ops``, a result out."""
