// testcontainers for Node.js: a server that is waited for, spoken to, and gone afterwards.
import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";
import { GenericContainer, Network, Wait } from "testcontainers";

test("a real redis is waited for and spoken to", async () => {
  const container = await new GenericContainer(process.env.REDIS)
    .withExposedPorts(6379)
    .withWaitStrategy(Wait.forLogMessage("Ready to accept connections"))
    .start();
  const socket = net.connect(container.getMappedPort(6379), container.getHost());
  socket.write("SET key value\r\nGET key\r\n");
  let answer = "";
  for await (const chunk of socket) {
    answer += chunk;
    if (answer.endsWith("value\r\n")) break;
  }
  const { output, exitCode } = await container.exec(["redis-cli", "GET", "key"]);
  assert.deepEqual([output.trim(), exitCode], ["value", 0]);
  await container.stop();
});

test("two containers meet on a network, and files go in before the start", async () => {
  const network = await new Network().start();
  const server = await new GenericContainer("busybox")
    .withNetwork(network)
    .withNetworkAliases("pages")
    .withCopyContentToContainer([{ content: "a page", target: "/www/index.html" }])
    .withCommand(["httpd", "-f", "-p", "8080", "-h", "/www"])
    .withExposedPorts(8080)
    .start();
  const asker = await new GenericContainer("busybox").withNetwork(network).withCommand(["sleep", "1000"]).start();
  const { output } = await asker.exec(["wget", "-qO-", "http://pages:8080/"]);
  assert.equal(output, "a page");
  await asker.stop();
  await server.stop();
  await network.stop();
});
