// A sandbox refuses the sockets by which libuv asks for network interfaces, and servers ask in order to print their addresses.
// What they are told is what there is: the loopback device.
"use strict";

const os = require("node:os");

const ask = os.networkInterfaces;

os.networkInterfaces = function networkInterfaces() {
  try {
    return ask();
  } catch {
    return {
      lo: [
        {
          address: "127.0.0.1",
          netmask: "255.0.0.0",
          family: "IPv4",
          mac: "00:00:00:00:00:00",
          internal: true,
          cidr: "127.0.0.1/8",
        },
      ],
    };
  }
};
