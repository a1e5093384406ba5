// The screens of the official UI kit for SDK 5: conversations, a chat, a thread. kit.py opens them.
const { UIKitProvider, ConversationList, Chat, Thread, useThreadContext } = ChatUI;
const element = React.createElement;

function Screens() {
  const { threadVisible } = useThreadContext();
  return element(React.Fragment, null,
    element('div', { style: { width: 270 } }, element(ConversationList)),
    element('div', { style: { flex: 1, minWidth: 0 } }, element(Chat)),
    threadVisible && element('div', { style: { width: 400 } }, element(Thread)));
}

/** Show the screens of a user; `initConfig` holds the app key, the addresses, the user id and the token. */
globalThis.show = (initConfig) => {
  const screens = ReactDOM.createRoot(document.getElementById('screens'));
  screens.render(element(UIKitProvider, { initConfig, local: { lng: 'en' } }, element(Screens)));
};
