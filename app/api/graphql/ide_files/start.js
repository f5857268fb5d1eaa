// The key is typed into the editor's "Headers" tab: {"Authorization": "Bearer cdp_…"}.
const overHttp = GraphiQL.createFetcher({ url: "/graphql" });

function isSubscription({ operationName }, documentAST) {
  // Without a document it is the editor itself that asks, for the schema.
  return !!documentAST?.definitions.some(
    ({ kind, operation, name }) =>
      kind === "OperationDefinition" &&
      operation === "subscription" &&
      (!operationName || name?.value === operationName),
  );
}

// One subscription, graphql-transport-ws: an endless list of results, until it is left.
function overWebSocket(payload, headers) {
  const socket = new WebSocket(
    new URL("/graphql", location).href.replace("http", "ws"),
    "graphql-transport-ws",
  );
  const told = [];
  const asking = [];
  const tell = (result) => (asking.length ? asking.shift()(result) : told.push(result));
  const say = (message) => socket.send(JSON.stringify(message));
  const end = { value: undefined, done: true };
  const heard = {
    connection_ack: () => say({ type: "subscribe", id: "1", payload }),
    ping: () => say({ type: "pong" }),
    next: (message) => tell({ value: message.payload, done: false }),
    error: (message) => tell({ value: { errors: message.payload }, done: false }),
    complete: () => socket.close(),
  };
  socket.onopen = () => say({ type: "connection_init", payload: headers });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    heard[message.type]?.(message);
    if (message.type === "error") socket.close();
  };
  socket.onclose = ({ code, reason }) => {
    if (reason) tell({ value: { errors: [{ message: `${reason} (${code})` }] }, done: false });
    tell(end);
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => (told.length ? Promise.resolve(told.shift()) : new Promise((ask) => asking.push(ask))),
    return: () => {
      socket.close();
      return Promise.resolve(end);
    },
  };
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: (asked, options) =>
      isSubscription(asked, options.documentAST)
        ? overWebSocket(asked, options.headers)
        : overHttp(asked, options),
    shouldPersistHeaders: false,
    isHeadersEditorEnabled: true,
    defaultHeaders: '{"Authorization": "Bearer "}',
    defaultEditorToolsVisibility: "headers",
  }),
);
