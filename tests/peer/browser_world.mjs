// What the web build of the SDK expects of a browser, on Node: a socket, XMLHttpRequest, FileReader and a `window`.
// Only the members the SDK uses are here; a new SDK version that uses more fails loudly.
import WebSocketOfNode from 'ws';

class Socket extends WebSocketOfNode {
  constructor(url, protocols) {
    super(url, protocols);
    // In a browser a failed socket just closes; in Node an 'error' nobody listens to ends the process.
    this.on('error', () => {});
  }
}

// An EventTarget that also calls the `onload`-style property, as browser objects do.
class BrowserObject extends EventTarget {
  announce(...types) {
    for (const type of types) {
      const event = new Event(type);
      this.dispatchEvent(event);
      this[`on${type}`]?.(event);
    }
  }
}

export class Request extends BrowserObject {
  upload = new BrowserObject();
  readyState = 0;
  status = 0;
  response = '';
  responseText = '';
  responseType = '';
  timeout = 0;
  #asked = { method: 'GET', url: '', headers: new Headers() };
  #answered = new Headers();

  open(method, url) {
    this.#asked = { method: method.toUpperCase(), url, headers: new Headers() };
    this.readyState = 1;
  }

  setRequestHeader(name, value) { this.#asked.headers.set(name, String(value)); }
  getResponseHeader(name) { return this.#answered.get(name); }
  overrideMimeType() {}
  abort() { this.announce('abort'); }

  async send(body) {
    const { method, url, headers } = this.#asked;
    if (body instanceof FormData) headers.delete('content-type'); // fetch writes the multipart boundary itself
    const options = { method, headers };
    if (method !== 'GET' && method !== 'HEAD' && body !== undefined && body !== null) options.body = body;
    if (this.timeout > 0) options.signal = AbortSignal.timeout(this.timeout);
    let ending = ['readystatechange', 'load', 'loadend'];
    try {
      const answer = await fetch(url, options);
      this.status = answer.status;
      this.#answered = answer.headers;
      this.response = await (this.responseType === 'blob' ? answer.blob() : answer.text());
      if (typeof this.response === 'string') this.responseText = this.response;
    } catch (error) {
      ending = [error.name === 'TimeoutError' ? 'timeout' : 'error'];
    }
    this.readyState = 4;
    this.announce(...ending);
  }
}

class Reader extends BrowserObject {
  readAsText(blob) { blob.text().then((text) => this.#finish(text)); }
  readAsArrayBuffer(blob) { blob.arrayBuffer().then((bytes) => this.#finish(bytes)); }
  #finish(result) {
    this.result = result;
    this.announce('load', 'loadend');
  }
}

export function enterBrowserWorld() {
  Object.assign(globalThis, { WebSocket: Socket, XMLHttpRequest: Request, FileReader: Reader });
  globalThis.window = globalThis;
  globalThis.self = globalThis;
  globalThis.location = { protocol: 'http:', href: 'http://127.0.0.1/' };
  globalThis.navigator ??= { userAgent: 'node' };
  return 'easemob-websdk/Easemob-chat.js';
}
