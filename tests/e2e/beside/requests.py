"""The requests that both engines are sent: one function for each of the API's nouns.

None asks for a driver that is not there: dockerd looks for such a plugin for 15 seconds.
"""

from __future__ import annotations

import io
import json
import tarfile
from urllib.parse import quote

from tests.e2e.beside.recorder import Recorder

_SLEEP = {"Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL"}
_ATTACH = "stream=1&stdin=1&stdout=1&stderr=1"
FULL = {
    "Image": "busybox", "Cmd": ["sleep", "1000"], "Env": ["A=1", "B="], "Labels": {"a": "b"}, "WorkingDir": "/tmp",
    "User": "0:0", "Hostname": "box", "Domainname": "example.org", "StopSignal": "SIGKILL", "StopTimeout": 3,
    "ExposedPorts": {"80/tcp": {}, "81/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**12, "Retries": 2},
    "HostConfig": {
        "Binds": ["/srv:/bound:ro", "recvol:/vol"], "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]},
        "Mounts": [{"Type": "tmpfs", "Target": "/mem", "TmpfsOptions": {"SizeBytes": 65536}},
                   {"Type": "volume", "Source": "recvol2", "Target": "/vol2", "ReadOnly": True}],
        "Memory": 64 << 20, "CpuShares": 512, "PidsLimit": 50, "CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"],
        "Tmpfs": {"/t": "size=1m"}, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "Dns": ["127.0.0.1"],
        "ExtraHosts": ["host:127.0.0.1"], "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
        "ReadonlyRootfs": True, "ShmSize": 1 << 20, "SecurityOpt": ["no-new-privileges"], "OomScoreAdj": 5,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "GroupAdd": ["33"],
        "Sysctls": {"net.ipv4.ip_forward": "0"}, "NanoCpus": 5 * 10**8,
    },
}


def system(ask: Recorder) -> None:
    ask("ping", "GET /_ping")
    ask("ping by HEAD", "HEAD /_ping")
    ask("version", "GET /version")
    ask("info", "GET /info")
    ask("disk usage", "GET /system/df")
    ask("disk usage of nonsense", "GET /system/df?type=x")
    ask("no such path", "GET /nosuch")
    ask("no such method", "PATCH /containers/json")
    ask("swarm", "GET /swarm")
    ask("services", "GET /services")
    ask("plugins", "GET /plugins")
    ask("a plugin", "GET /plugins/nosuch/json")
    ask("login of a registry that is down", "POST /auth", {"username": "u", "password": "p",
                                                          "serveraddress": "127.0.0.1:1"})


def one_container(ask: Recorder) -> None:
    """From its creation to its removal."""
    ask("create", "POST /containers/create?name=recfull", FULL)
    ask("inspect of a created container", "GET /containers/recfull/json")
    ask("start", "POST /containers/recfull/start")
    ask("start again", "POST /containers/recfull/start")
    ask("inspect", "GET /containers/recfull/json")
    ask("inspect with sizes", "GET /containers/recfull/json?size=1")
    ask("list", "GET /containers/json")
    ask("list with sizes", "GET /containers/json?all=1&size=1")
    ask("top", "GET /containers/recfull/top?ps_args=-eo%20pid,args")
    ask("stats", "GET /containers/recfull/stats?stream=0&one-shot=1")
    ask("update", "POST /containers/recfull/update", {"CpuShares": 256})
    ask("pause", "POST /containers/recfull/pause")
    ask("pause again", "POST /containers/recfull/pause")
    ask("inspect of a paused container", "GET /containers/recfull/json")
    ask("exec in a paused container", "POST /containers/recfull/exec", {"Cmd": ["true"]})
    ask("start of a paused container", "POST /containers/recfull/start")
    ask("unpause", "POST /containers/recfull/unpause")
    ask("unpause again", "POST /containers/recfull/unpause")
    ask("rename", "POST /containers/recfull/rename?name=recnew")
    ask("rename to the same", "POST /containers/recnew/rename?name=recnew")
    ask("resize without a terminal", "POST /containers/recnew/resize?h=10&w=20")
    ask("resize to nothing", "POST /containers/recnew/resize?h=x&w=20")
    ask("remove one that runs", "DELETE /containers/recnew")
    ask("changes", "GET /containers/recnew/changes")
    ask("kill with a word", "POST /containers/recnew/kill?signal=WORD")
    ask("stop", "POST /containers/recnew/stop?t=1")
    ask("stop again", "POST /containers/recnew/stop")
    ask("inspect of an ended container", "GET /containers/recnew/json")
    ask("list of an ended container", "GET /containers/json?all=1")
    ask("kill one that does not run", "POST /containers/recnew/kill")
    ask("top of one that does not run", "GET /containers/recnew/top")
    ask("stats of one that does not run", "GET /containers/recnew/stats?stream=0&one-shot=1")
    ask("wait for one that has ended", "POST /containers/recnew/wait")
    ask("wait for nonsense", "POST /containers/recnew/wait?condition=x")
    ask("remove", "DELETE /containers/recnew?v=1")
    ask("remove again", "DELETE /containers/recnew")


def streams(ask: Recorder) -> None:
    """Attach, exec and logs, byte by byte."""
    ask("create for attach", "POST /containers/create?name=recatt", {
        "Image": "busybox", "Cmd": ["sh", "-c", "cat; echo err >&2; exit 3"], "OpenStdin": True, "StdinOnce": True})
    ask.stream("attach", f"POST /containers/recatt/attach?{_ATTACH}", data=b"input\n",
               between=lambda: ask("start of an attached container", "POST /containers/recatt/start"))
    ask("wait", "POST /containers/recatt/wait")
    ask.frames("logs", "GET /containers/recatt/logs?stdout=1&stderr=1")
    ask("logs of one stream", "GET /containers/recatt/logs?stderr=1")
    ask("logs of no stream", "GET /containers/recatt/logs")
    ask("logs since nonsense", "GET /containers/recatt/logs?stdout=1&since=x")
    ask("attach to one that is not there", "POST /containers/nosuch/attach?stream=1")
    ask("create with a terminal", "POST /containers/create?name=rectty", {
        "Image": "busybox", "Cmd": ["sh", "-c", "echo hi; echo there"], "Tty": True, "AttachStdout": True})
    ask.stream("attach with a terminal", f"POST /containers/rectty/attach?{_ATTACH}", framed=False,
               between=lambda: ask("start with a terminal", "POST /containers/rectty/start"))
    ask("logs with a terminal", "GET /containers/rectty/logs?stdout=1")
    ask("the last log lines", "GET /containers/rectty/logs?stdout=1&tail=1")
    ask("create for execs", "POST /containers/create?name=recexec", _SLEEP)
    ask("exec before the start", "POST /containers/recexec/exec", {"Cmd": ["true"]})
    ask("start for execs", "POST /containers/recexec/start")
    ask("exec without a command", "POST /containers/recexec/exec", {})
    for name, command, more in (
        ("exec", ["sh", "-c", "cat; echo err >&2; exit 4"], {"AttachStdin": True, "Env": ["A=1"], "User": "0"}),
        ("exec of nothing", ["nosuchcommand"], {}), ("exec of a directory", ["/etc"], {}),
    ):
        made = ask(f"{name}, created", "POST /containers/recexec/exec", {
            "Cmd": command, "AttachStdout": True, "AttachStderr": True, **more}).json["Id"]
        ask(f"{name}, not started", f"GET /exec/{made}/json")
        ask.stream(name, f"POST /exec/{made}/start", b'{"Detach":false,"Tty":false}', data=b"input\n")
        ask(f"{name}, ended", f"GET /exec/{made}/json")
        ask(f"{name}, again", f"POST /exec/{made}/start", {"Detach": True})
    ask("exec that is not there", "GET /exec/nosuch/json")
    ask("start of an exec that is not there", "POST /exec/nosuch/start", {"Detach": True})
    ask("remove by force", "DELETE /containers/recexec?force=1")


def files(ask: Recorder) -> None:
    ask("create for files", "POST /containers/create?name=recfiles", _SLEEP)
    ask("stat of a directory", "HEAD /containers/recfiles/archive?path=/etc")
    ask("stat of nothing", "HEAD /containers/recfiles/archive?path=/nosuch")
    ask("read of nothing", "GET /containers/recfiles/archive?path=/nosuch")
    ask("read without a path", "GET /containers/recfiles/archive")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo("made")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"data"))
    for name, path in (("write", "/tmp"), ("write into nothing", "/nosuch"), ("write into a file", "/etc/passwd")):
        ask(name, f"PUT /containers/recfiles/archive?path={path}", raw.getvalue(), Content_Type="application/x-tar")
    ask("changes of one that never ran", "GET /containers/recfiles/changes")
    ask("commit", "POST /commit?container=recfiles&repo=recimage&tag=1&comment=told&author=me", {})
    ask("inspect of a committed image", "GET /images/recimage:1/json")
    ask("history of a committed image", "GET /images/recimage:1/history")
    ask("remove the committed image", "DELETE /images/recimage:1")


def images(ask: Recorder) -> None:
    ask("images", "GET /images/json")
    ask("images by name", "GET /images/json?filters=" + quote('{"reference":["busy*"]}'))
    ask("images by nonsense", "GET /images/json?filters=" + quote('{"nonsense":["x"]}'))
    ask("inspect of an image", "GET /images/busybox/json")
    ask("inspect of no image", "GET /images/nosuch/json")
    ask("history", "GET /images/busybox/history")
    ask("history of no image", "GET /images/nosuch/history")
    ask("tag", "POST /images/busybox/tag?repo=rectag&tag=1")
    ask("tag with capitals", "POST /images/busybox/tag?repo=BAD&tag=1")
    ask("tag of no image", "POST /images/nosuch/tag?repo=rectag&tag=2")
    ask("untag", "DELETE /images/rectag:1")
    ask("remove no image", "DELETE /images/nosuch")
    ask("save of no image", "GET /images/get?names=nosuch")
    ask("load of nonsense", "POST /images/load", b"nonsense", Content_Type="application/x-tar")
    ask("pull from a registry that is down", "POST /images/create?fromImage=127.0.0.1:1/x&tag=1")
    ask("pull with capitals", "POST /images/create?fromImage=BAD&tag=1")
    ask("push of no image", "POST /images/127.0.0.1:1/x/push?tag=1", X_Registry_Auth="e30=")
    ask("create for an image's use", "POST /containers/create?name=recuse", _SLEEP)
    ask("remove an image in use", "DELETE /images/busybox")
    ask("prune of images", "POST /images/prune")
    ask("prune of build caches", "POST /build/prune")
    ask("remove the image's user", "DELETE /containers/recuse")


def networks(ask: Recorder) -> None:
    ask("networks", "GET /networks?filters=" + quote('{"name":["bridge"]}'))
    ask("create a network", "POST /networks/create", {
        "Name": "recnet", "Labels": {"a": "b"}, "IPAM": {"Config": [{"Subnet": "10.213.0.0/24"}]}})
    ask("create a network again", "POST /networks/create", {"Name": "recnet", "CheckDuplicate": True})
    ask("create a network without a name", "POST /networks/create", {"Name": ""})
    ask("create a network called bridge", "POST /networks/create", {"Name": "bridge"})
    ask("create a network that overlaps", "POST /networks/create", {
        "Name": "recover", "IPAM": {"Config": [{"Subnet": "10.213.0.0/25"}]}})
    ask("inspect of a network", "GET /networks/recnet")
    ask("create for a network", "POST /containers/create?name=recjoin", {
        **_SLEEP, "HostConfig": {"NetworkMode": "recnet"},
        "NetworkingConfig": {"EndpointsConfig": {"recnet": {"Aliases": ["alias"], "IPAMConfig": {
            "IPv4Address": "10.213.0.9"}}}}})
    ask("start on a network", "POST /containers/recjoin/start")
    ask("inspect on a network", "GET /containers/recjoin/json")
    ask("inspect of a network in use", "GET /networks/recnet")
    ask("remove a network in use", "DELETE /networks/recnet")
    ask("connect again", "POST /networks/recnet/connect", {"Container": "recjoin"})
    ask("connect another", "POST /networks/bridge/connect", {"Container": "recjoin"})
    ask("disconnect", "POST /networks/bridge/disconnect", {"Container": "recjoin"})
    ask("disconnect again", "POST /networks/bridge/disconnect", {"Container": "recjoin"})
    ask("connect nobody", "POST /networks/recnet/connect", {"Container": "nosuch"})
    ask("remove who is on the network", "DELETE /containers/recjoin?force=1")
    ask("remove a network", "DELETE /networks/recnet")
    ask("remove no network", "DELETE /networks/recnet")
    ask("remove the network bridge", "DELETE /networks/bridge")
    ask("prune of networks", "POST /networks/prune")


def volumes(ask: Recorder) -> None:
    ask("create a volume", "POST /volumes/create", {"Name": "recvolume", "Labels": {"a": "b"}})
    ask("create a volume again", "POST /volumes/create", {"Name": "recvolume"})
    ask("create a volume without a name", "POST /volumes/create", {})
    ask("create a volume of a bad name", "POST /volumes/create", {"Name": "a b"})
    ask("inspect of a volume", "GET /volumes/recvolume")
    ask("inspect of no volume", "GET /volumes/nosuch")
    ask("volumes", "GET /volumes?filters=" + quote('{"name":["recvolume"]}'))
    ask("create for a volume", "POST /containers/create?name=recuser", {
        **_SLEEP, "HostConfig": {"Binds": ["recvolume:/x"]}})
    ask("remove a volume in use", "DELETE /volumes/recvolume")
    ask("remove the volume's user", "DELETE /containers/recuser")
    ask("remove a volume", "DELETE /volumes/recvolume")
    ask("remove no volume", "DELETE /volumes/recvolume")
    ask("remove no volume by force", "DELETE /volumes/recvolume?force=1")
    ask("prune of volumes", "POST /volumes/prune?filters=" + quote('{"label":["nosuch"]}'))


REFUSED = {
    "of no image": {"Image": "nosuch"}, "of a bad image": {"Image": "BAD"}, "of nothing": {},
    "with too little memory": {"Image": "busybox", "HostConfig": {"Memory": 1000}},
    "with too many processors": {"Image": "busybox", "HostConfig": {"NanoCpus": 10**15}},
    "with a policy of nonsense": {"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "x"}}},
    "removed and restarted": {"Image": "busybox", "HostConfig": {
        "AutoRemove": True, "RestartPolicy": {"Name": "always"}}},
    "with a relative bind": {"Image": "busybox", "HostConfig": {"Binds": ["/x:y"]}},
    "with a bind of nothing": {"Image": "busybox", "HostConfig": {"Mounts": [
        {"Type": "bind", "Source": "/nosuch", "Target": "/x"}]}},
    "with two mounts on one target": {"Image": "busybox", "HostConfig": {"Binds": ["/tmp:/x", "/var:/x"]}},
    "with a volume of a bad name": {"Image": "busybox", "HostConfig": {"Binds": ["a b:/x"]}},
    "with a capability of nonsense": {"Image": "busybox", "HostConfig": {"CapAdd": ["NONSENSE"]}},
    "with a port of nonsense": {"Image": "busybox", "HostConfig": {"PortBindings": {"x/tcp": []}}},
    "with a port that is too high": {"Image": "busybox", "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}},
    "with two ways to limit processors": {"Image": "busybox", "HostConfig": {"NanoCpus": 10**9, "CpuQuota": 1000}},
    "with a health check of nonsense": {"Image": "busybox", "Healthcheck": {"Test": ["NONSENSE", "x"]}},
    "with a health check that is too quick": {"Image": "busybox", "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}},
    "with a number for a word": {"Image": 7}, "with an IPC mode of nonsense": {
        "Image": "busybox", "HostConfig": {"IpcMode": "nonsense"}},
}


def refusals(ask: Recorder) -> None:
    for words, body in REFUSED.items():
        ask(f"create {words}", "POST /containers/create", body)
    ask("create with a bad name", "POST /containers/create?name=a", _SLEEP)
    ask("create without JSON", "POST /containers/create", b"nonsense", Content_Type="application/json")
    ask("create with two values", "POST /containers/create", b'{"Image":"busybox"}{}', Content_Type="application/json")
    ask("create of another type", "POST /containers/create", b'{"Image":"busybox"}', Content_Type="text/plain")
    ask("create the first", "POST /containers/create?name=rectaken", {"Image": "busybox", "Cmd": ["nosuchcommand"]})
    ask("create the second", "POST /containers/create?name=rectaken", _SLEEP)
    ask("start of no command", "POST /containers/rectaken/start")
    ask("inspect after a failed start", "GET /containers/rectaken/json")
    ask("start with a body", "POST /containers/rectaken/start", {"a": "long body"})
    for verb in ("start", "stop", "restart", "kill", "pause", "unpause", "wait", "resize?h=1&w=1", "rename?name=xy",
                 "update", "exec"):
        body = {"Cmd": ["true"]} if verb == "exec" else {} if verb == "update" else None
        ask(f"{verb.partition('?')[0]} of no container", f"POST /containers/nosuch/{verb}", body)
    for noun in ("json", "top", "logs?stdout=1", "changes", "export", "stats", "archive?path=/"):
        ask(f"{noun.partition('?')[0]} of no container", f"GET /containers/nosuch/{noun}")
    for filters in ("nonsense", '{"nonsense":["x"]}', '{"status":["x"]}', '{"exited":["x"]}', '{"before":["nosuch"]}'):
        ask(f"list by {filters}", f"GET /containers/json?filters={quote(filters)}")
    ask("list of nonsense", "GET /containers/json?limit=x")
    ask("events since nonsense", "GET /events?since=x")
    ask("prune of containers", "POST /containers/prune")


def told(ask: Recorder, began: int, ended: int) -> None:
    """The events of a container's life, all told by now."""
    actions = ["create", "start", "die", "pause", "unpause", "rename", "update", "kill", "stop", "destroy"]
    query = quote(json.dumps({"container": ["recfull", "recnew", "recatt"], "event": actions}))
    ask("events", f"GET /events?since={began}&until={ended}&filters={query}")


ALL = (system, one_container, streams, files, images, networks, volumes, refusals)
