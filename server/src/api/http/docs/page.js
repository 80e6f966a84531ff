window.onload = function () {
  // Answers that do not end have nothing to show on a page.
  const endless = ENDLESS;
  const withoutEndless = () => ({
    statePlugins: {
      spec: {
        wrapSelectors: {
          allowTryItOutFor: (allowed) => (state, path, method) =>
            !endless.some((end) => String(path).endsWith(end)) && allowed(state, path, method),
        },
      },
    },
  });
  window.ui = SwaggerUIBundle({
    dom_id: "#swagger-ui",
    urls: DOCUMENTS,
    deepLinking: true,
    tryItOutEnabled: false,
    persistAuthorization: false,
    layout: "StandaloneLayout",
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl, withoutEndless],
  });
};
