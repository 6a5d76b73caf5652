window.LIVE = {
  "weights": "6b2adb70ca4c297a985a64e9f69c584a13bb31b0999dc222e5ea04c8e1c989a7",
  "step": 22600,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 13111435
  }
};
