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
  "dyes": {
    "kente": [
      "#a42124",
      "#f2e7ce",
      "#241710",
      "#889045",
      "#264a8f",
      "#1b683f"
    ],
    "bogolanfini": [
      "#2d1c13",
      "#ecdcbd",
      "#63321b",
      "#482b17"
    ],
    "adire": [
      "#2d3671",
      "#d0e7f9",
      "#475393",
      "#171f56",
      "#bdcce2"
    ],
    "wax_print": [
      "#d2572a",
      "#131428",
      "#f2e7ce",
      "#006b81",
      "#812d67",
      "#c5a848"
    ],
    "kuba": [
      "#733823",
      "#d6c5a2",
      "#22150f",
      "#aa6831",
      "#c89667",
      "#46241f"
    ],
    "khasa": [
      "#293e67",
      "#ede4cf",
      "#a8793a",
      "#8b2921",
      "#dea143",
      "#36241e"
    ],
    "pelete_bite": [
      "#ead5ab",
      "#181928",
      "#ae521b",
      "#28593c",
      "#cf9466",
      "#77212a"
    ],
    "shweshwe": [
      "#821422",
      "#f2eee3",
      "#18205e",
      "#4a2b1e",
      "#352a3d"
    ]
  },
  "guidance": "one pass",
  "fewSteps": [
    8,
    4,
    2,
    1
  ],
  "weights": "a13f3346489990eb54925981270c48e0f632db7c1a876ad86772348d4b10ba8b",
  "step": 5737,
  "bytes": {
    "runtime.js": 4911578,
    "network.js": 11784343
  }
};
