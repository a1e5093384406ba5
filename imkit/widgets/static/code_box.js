// CodeBox (history_form.py): code to copy or to insert as the next cell.
export default widgetPart('imkit-code', ({ model, el, label, listen }) => {
    const code = element('pre', { tabindex: '0', 'aria-label': label('load_code_label') });
    const copyButton = element('button', { type: 'button', text: label('load_copy') });
    // JupyterLab sets window.jupyterapp only when it was started with --expose-app-in-browser; `imkit lab` does so.
    const insertButton = element('button', { type: 'button', text: label('load_insert'), hidden: !window.jupyterapp });
    copyButton.addEventListener('click', async () => {
        try {
            await navigator.clipboard.writeText(code.textContent);
            copyButton.textContent = label('load_copied');
        } catch {  // the page may not use the clipboard: select the code for the user
            getSelection().selectAllChildren(code);
        }
    });
    insertButton.addEventListener('click', async () => {
        const app = window.jupyterapp, notebook = app.shell.currentWidget?.content;
        const index = notebook?.widgets?.findIndex(cell => cell.node.contains(el)) ?? -1;
        if (index < 0) return;
        notebook.activeCellIndex = index;
        await app.commands.execute('notebook:insert-cell-below');
        notebook.activeCell.model.sharedModel.setSource(code.textContent);
    });
    const receive = content => {
        if (content.do !== 'code') return;
        code.textContent = content.code;
        copyButton.textContent = label('load_copy');
        el.hidden = !content.code;
    };
    listen('msg:custom', receive);
    el.hidden = true;
    el.append(code, element('div', {}, copyButton, ' ', insertButton));
    model.send({ do: 'open' });
});
