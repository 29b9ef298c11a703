FROM busybox
ENV D=dir E=/base
WORKDIR $E/${D}
WORKDIR two words
WORKDIR "quoted"
WORKDIR ./x//y/../z/
RUN pwd > /pwd
COPY a.txt here
