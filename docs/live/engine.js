/* The network in the page: unpack it, start it, ask it.

   Nothing here runs before Engine.load() is called, at the reader's press of a button.
   A page opened from disk may neither fetch files nor import modules, but it may load
   scripts: so all comes in scripts, which build.py packs into _static/live. */

"use strict";

const Engine = (() => {
  const FOLDER = new URL("live/", document.currentScript.src);

  /** Why the network cannot run in this browser, or false. */
  const missing =
    (typeof WebAssembly !== "object" && "this browser has no WebAssembly") ||
    (typeof DecompressionStream !== "function" && "this browser is too old");

  /** A script of _static/live, as the object that it puts into LIVE. */
  function loadScript(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(name, FOLDER);
      script.onload = () => resolve(LIVE[name]);
      script.onerror = () => reject(new Error(`${name} cannot be loaded`));
      document.head.append(script);
    });
  }

  /** The bytes that build.py gzipped and wrote in base64. */
  async function unpack(text) {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    const unzipped = new DecompressionStream("gzip");
    const stream = new Blob([bytes]).stream().pipeThrough(unzipped);
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** From the runtime and its files to predict(x, t, label) -> v.

      label: one number a family and one for none, or null where it knows no families.

      Runs in the page or, as text, in a Worker: so it uses no name from outside. */
  async function startNetwork(ort, { wasm, mjs, unet }) {
    const module = new Blob([mjs], { type: "text/javascript" });
    ort.env.wasm.numThreads = 1; // more need headers that few servers send
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
    const session = await ort.InferenceSession.create(unet);
    return async (x, t, label) => {
      const inputs = {
        x: new ort.Tensor("float32", x, [1, 3, 64, 64]),
        t: new ort.Tensor("float32", [t], [1]),
      };
      if (label) inputs.label = new ort.Tensor("float32", label, [1, label.length]);
      return (await session.run(inputs)).v.data;
    };
  }

  /** What the Worker does, as text as well: it answers one message by one. */
  function serve(start) {
    let predict;
    self.onmessage = async ({ data: { files, x, t, label } }) => {
      try {
        if (files) predict = await start(self.ort, files);
        self.postMessage({ v: files ? null : await predict(x, t, label) });
      } catch (error) {
        self.postMessage({ error: String(error) });
      }
    };
  }

  /** predict in a Worker, so that the page stays awake while it computes. */
  async function startInWorker(source, files) {
    const body = `\n;(${serve})(${startNetwork});`;
    const worker = new Worker(URL.createObjectURL(new Blob([source, body])));
    const ask = (message) =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) =>
          data.error ? reject(new Error(data.error)) : resolve(data.v);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage(message);
      });
    await ask({ files });
    return (x, t, label) => ask({ x, t, label });
  }

  /** predict in the page itself, for browsers that give a page from disk no Worker. */
  async function startInPage(source, files) {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([source]));
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("this browser forbids it"));
      document.head.append(script);
    });
    const predict = await startNetwork(window.ort, files);
    return async (...question) => {
      await new Promise((resolve) => setTimeout(resolve, 20)); // let the page repaint
      return predict(...question);
    };
  }

  async function start() {
    const [runtime, network] = await Promise.all(
      ["runtime.js", "network.js"].map(loadScript),
    );
    const [source, mjs, wasm, gifSource, unet] = await Promise.all(
      [
        runtime["ort.wasm.min.js"],
        runtime["ort-wasm-simd-threaded.mjs"],
        runtime["ort-wasm-simd-threaded.wasm"],
        runtime["gifenc.js"],
        network["unet.onnx"],
      ].map(unpack),
    );
    delete LIVE["runtime.js"]; // 18 MB of text
    delete LIVE["network.js"];
    const files = { wasm, mjs, unet };
    let where = "worker";
    let answer = await startInWorker(source, files).catch(() => null);
    if (!answer) {
      where = "page";
      answer = await startInPage(source, files);
    }
    let last = Promise.resolve(); // one question after the other, whoever asks
    const predict = (...question) =>
      (last = last.catch(() => {}).then(() => answer(...question)));
    const gifenc = {};
    new Function("exports", new TextDecoder().decode(gifSource))(gifenc);
    return { predict, alphaBar: network.alphaBar, gifenc, where };
  }

  let model = null;

  /** The model {predict, alphaBar, gifenc, where}, loaded once for the whole page. */
  function load() {
    model ??= start().catch((error) => {
      model = null; // the next press tries again
      throw error;
    });
    return model;
  }

  return { FOLDER, missing, load };
})();
