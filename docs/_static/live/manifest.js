window.LIVE = {
  "weights": "ab2141a0cc93fc9af05f98faa44eb6935e296ac800371fe155f640b6eb701141",
  "step": 25904,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 13106895
  }
};
