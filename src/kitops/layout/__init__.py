"""OCI image layouts (image-spec, image-layout.md), as a directory or as one tar: sources and sinks of content.

Nothing here knows what a ModelKit is: any artifact is read and written.
"""
