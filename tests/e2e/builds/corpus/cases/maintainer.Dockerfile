FROM busybox
MAINTAINER Somebody <some@body>
