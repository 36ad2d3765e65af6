/** The page. */
export function App() {
  return <main>Vesta</main>;
}
