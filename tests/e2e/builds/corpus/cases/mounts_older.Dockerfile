FROM busybox
COPY ignored/yes /yes
RUN echo a > /a; echo other > /f; echo /rw/new > /seen; echo kept > /x; echo none > /secret; echo 1 > /links; mkdir /ctx /from /rw /t /c; rmdir /ctx /from /rw /t /c
