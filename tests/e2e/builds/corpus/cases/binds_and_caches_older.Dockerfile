FROM busybox
RUN echo a > /a; echo other > /f; echo /rw/new > /seen; echo kept > /x; mkdir /in /from /rw /t /c /d; touch /in/a.txt; rm /in/a.txt; rmdir /in /from /rw /t /c /d
