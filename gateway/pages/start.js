// Starts Swagger UI on this gateway's own description. Nothing is asked of anybody else: no validator, no font, no picture; and
// a token is kept nowhere but in the page.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  validatorUrl: 'none',
  persistAuthorization: false,
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: 'none',
  defaultModelsExpandDepth: 0,
  syntaxHighlight: false,
});
