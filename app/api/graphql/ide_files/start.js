// The key is typed into the editor's "Headers" tab: {"Authorization": "Bearer cdp_…"}.
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: "/graphql" }),
    shouldPersistHeaders: false,
    isHeadersEditorEnabled: true,
    defaultHeaders: '{"Authorization": "Bearer "}',
    defaultEditorToolsVisibility: "headers",
  }),
);
