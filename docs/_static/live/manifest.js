window.LIVE = {
  "weights": "26bd3b40da0b8a44ac5ab20ff3ec727f231dc350fd5969c3f48dd12a49d3b84e",
  "step": 30640,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 13105307
  }
};
