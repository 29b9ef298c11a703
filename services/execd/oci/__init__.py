"""The OCI ``config.json`` of a container, from its typed spec: Docker's defaults, Pier's refusals.

``validate``      what a spec may ask at all, judged when the container is created
``capabilities``  sets of capabilities       ``users``   numbers from the container's own passwd and group
``limits``        resources                  ``mounts``  what is mounted into the container
``rootfs``        the root file system, touched by descriptors only      ``config``  the document
"""
