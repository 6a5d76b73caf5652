window.LIVE = {
  "weights": "7b0b599bcd23cbe29d6111117300f5abfb419f8f5cb6af82a236a6548891c735",
  "step": 20000,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 13111895
  }
};
