window.LIVE = {
  "families": [
    "kente",
    "bogolanfini",
    "adire",
    "wax_print",
    "kuba",
    "khasa",
    "pelete_bite",
    "shweshwe"
  ],
  "guidance": "one pass",
  "weights": "8ef92b3b3552abcdb19cc8528656f569ea7ee17628eef5680d4d67639d0c7ab6",
  "step": 4800,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 13133823
  }
};
