"""The public functions: each verb with the defaults of this machine filled in.

Everything takes references as text and a :class:`Settings`; what it leaves out comes from the environment, as for the
``kit`` command: ``$KITOPS_HOME``, the proxies, docker's and podman's credential files.
"""
